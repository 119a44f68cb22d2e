//! Evaluation of AgentCards: from received bytes to a verdict, and from the verdict to the status.

mod card;
pub mod card_evaluation;
pub mod conditions;
mod default;
pub mod ending;
pub mod endpoints;
pub mod enforcement;
pub mod evaluate;
pub mod evaluation;
pub mod merge;
pub mod replica;
pub mod result;
pub mod schedule;
pub mod settles;
pub mod status;
mod status_input;
pub mod transition;
pub mod turn;
pub mod unread;

pub use card::IndexedCard;
pub use default::plan_default_card;
