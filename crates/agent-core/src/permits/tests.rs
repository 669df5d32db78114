//! The rules of the permits: each by an example, and all of them against a plain model.

mod alone;
mod histories;
mod model;
mod scenes;
mod steps;

use super::*;
