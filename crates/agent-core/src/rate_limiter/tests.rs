//! The limiter's promises, each by a scene in virtual time.
