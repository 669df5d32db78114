//! The moment between the journal and the request: what is dropped there has not left.

use crate::audit::AuditKind;
use crate::record::OpenAttempt;
use crate::store::Entry;
use crate::worker::services::Services;

/// An attempt on its way into the journal. Dropped before it leaves (its task was cancelled, its
/// worker died, or its money was lost), it is withdrawn: nothing of it can have been billed.
#[must_use]
pub(super) struct Opening<'a> {
    services: &'a Services,
    open: Option<&'a OpenAttempt>,
}

impl<'a> Opening<'a> {
    pub(super) fn new(services: &'a Services, open: &'a OpenAttempt) -> Opening<'a> {
        Opening { services, open: Some(open) }
    }

    /// The journal has answered: it leaves, or was refused.
    pub(super) fn answered(mut self) {
        self.open = None;
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        let Some(open) = self.open.filter(|_| self.services.is_heard()) else { return };
        let event = AuditKind::CallFailure {
            attempt: open.attempt,
            error_type: "abandoned".to_owned(),
            error_message: "the request never left".to_owned(),
            status: None,
            will_retry: false,
            retry_after_ms: None,
            duration_ms: 0,
            presumed: false,
        };
        let event = self.services.event(Some(open.call_id), &open.subject, event);
        let (call_id, attempt) = (open.call_id, open.attempt);
        self.services.note(vec![Entry::AttemptWithdrawn { call_id, attempt }, event]);
    }
}
