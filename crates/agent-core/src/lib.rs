//! Supervised LLM agents with budgets, rate limits and durable accounting.

pub mod agent;
pub mod clock;
pub mod config;
pub mod ledger;
pub mod money;
pub mod permits;
pub mod retry;
pub mod supervision;
pub mod task;
pub mod tasks;
pub mod usage;
