//! Supervised LLM agents with budgets, rate limits and durable accounting.

pub mod audit;
pub mod clock;
pub mod ledger;
pub mod llm;
pub mod money;
pub mod permits;
pub mod record;
pub mod retry;
pub mod store;
pub mod supervision;
pub mod task;
pub mod usage;
