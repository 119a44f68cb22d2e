//! Files that people write in YAML or JSON, read strictly: the place and path of each mistake, and the nearest known key.
//! Pure: text in, values or mistakes out.

mod diagnostic;
mod node;
mod read_error;
mod reader;
mod syntax;

pub use diagnostic::{Diagnostic, PathStep, diagnostic_at};
pub use node::{MemberKey, Place, YamlNode, YamlValue};
pub use reader::{ReaderContext, Variables, read, read_all};
pub use syntax::syntax_problem;
