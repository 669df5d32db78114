//! Calibration: what is fitted, and what it is worth.
