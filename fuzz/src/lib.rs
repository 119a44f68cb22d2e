//! What the fuzz targets share: independent readings of the formats, and a small test authority.
//! Nothing here uses the code under test to decide whether that code is right.

pub mod admission;
pub mod authority;
pub mod cards;
pub mod case;
pub mod certs;
pub mod json;
pub mod pointer;
pub mod rules;
