//! What durable records cost: shared syncs against sled with a sync for each record.

fn main() {}
