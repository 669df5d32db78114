//! Supervised LLM agents with budgets, rate limits and durable accounting.

pub mod agent;
pub mod audit;
pub mod budget;
pub mod clock;
pub mod config;
pub mod coordinator;
pub mod estimate;
mod guard;
pub mod ledger;
pub mod llm;
mod lookup;
pub mod money;
pub mod permits;
pub mod pricing;
pub mod prompt;
pub mod queue;
pub mod rate_limiter;
pub mod record;
pub mod retry;
pub mod store;
pub mod supervision;
pub mod system;
pub mod task;
pub mod tasks;
pub mod usage;
mod wording;
pub mod worker;
