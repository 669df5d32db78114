//! Pages of small scenarios.

use super::*;
use crate::scenario::Scenario;
