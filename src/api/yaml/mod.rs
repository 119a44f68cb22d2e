//! Files that people write in YAML or JSON, read strictly: the place and path of each mistake, and the nearest known key.
//! Pure: text in, values or mistakes out.

mod diagnostic;
mod duration_text;
mod mistakes;
mod node;
mod path;
mod read_error;
mod reader;
mod syntax;
mod word;

pub use diagnostic::{Diagnostic, diagnostic_at};
pub use duration_text::duration_text;
pub use mistakes::{Mistakes, read_partial};
pub use node::{MemberKey, Place, YamlNode, YamlValue};
pub use path::PathStep;
pub use reader::{ReaderContext, Variables, read};
pub use syntax::syntax_problem;
