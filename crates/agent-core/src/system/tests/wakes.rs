//! The coordinator's one timer for tasks that wait.

use super::*;
use crate::retry::AttemptTimeout;
use crate::task::ErrorCode;

const MINUTE: Duration = Duration::from_secs(60);
const TASKS: u32 = 60;
/// Timers that others have armed: of the call in flight, of the look at its worker.
const OTHERS: usize = 8;

#[test]
fn a_wake_that_was_overtaken_is_not_taken_for_the_one_that_is_armed() {
    VirtualClock::run(Timestamp::EPOCH, |clock| async move {
        let agent = AgentSpec::new("clerk", "claude-haiku-4-5").count(1);
        let timeouts = AttemptTimeout { base: 120 * MINUTE, ..AttemptTimeout::default() };
        let builder = AgentSystem::builder(Gate::default()).agent(agent).timeouts(timeouts);
        let system = builder.clock(clock.clone()).start().await.unwrap();
        let _held = system.submit(Task::new("0", "Keeps the one worker")).await.unwrap();
        // Each is to end before those that came before it, so each arms the timer anew.
        let mut waiting = Vec::new();
        for minute in (1..=TASKS).rev() {
            let mut task = Task::new(minute.to_string(), "Waits");
            task.deadline = Some(format!("{minute}m").parse().unwrap());
            waiting.push((minute, system.submit(task).await.unwrap()));
        }
        for (minute, task) in waiting.into_iter().rev() {
            let outcome = task.outcome().await.unwrap();
            let code = outcome.error.as_ref().map(|error| error.code);
            assert_eq!(code, Some(ErrorCode::DeadlineExceeded));
            assert_eq!(clock.now(), Timestamp::EPOCH + minute * MINUTE);
            // Were it taken for that, each would arm another: one for each minute that has passed.
            let most = (TASKS - minute) as usize + OTHERS;
            assert!(clock.armed() <= most, "{} timers after {minute} minutes", clock.armed());
        }
    });
}
