//! Supervised LLM agents with budgets, rate limits and durable accounting.

pub mod clock;
pub mod ledger;
pub mod money;
pub mod permits;
pub mod rate_limiter;
pub mod retry;
pub mod supervision;
pub mod task;
pub mod usage;
