//! A2A as events need it: its operations under all their names, and what its messages tell about contexts and tasks.

mod messages;
mod operation;
mod update;

pub(super) use messages::GrpcVersion;
pub(super) use operation::Operation;
pub(super) use update::Update;
