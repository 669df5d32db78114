//! The desk: money without a message, and nobody overtaken for it.

use super::*;

impl Stage {
    fn at_the_desk(&self, dollars: u64) -> Result<Reservation, Reserve> {
        let (scopes, amount) = (scopes("global"), usd(dollars));
        self.desk.reserve(Reserve::new(self.name(), scopes, amount, None, seconds(1_000)))
    }
}

#[test]
fn nobody_at_the_desk_overtakes_who_is_on_the_way_to_the_queue_or_in_it() {
    on_stage(vec![total("global", 10)], |stage| async move {
        let all = stage.at_the_desk(10).unwrap();
        let on_the_way = stage.at_the_desk(7).unwrap_err();
        let also = stage.at_the_desk(7).unwrap_err();
        drop(all);
        drop(stage.at_the_desk(1).unwrap_err());
        let first = stage.budget.send(on_the_way).await.unwrap().unwrap();
        assert_eq!(stage.sums().await, [0, 0, 7]);
        let Err(ReserveError::MustWait(ticket, _)) = stage.budget.send(also).await.unwrap() else {
            panic!("there is no room");
        };
        // There is room for this one, but another is before it.
        drop(stage.at_the_desk(3).unwrap_err());
        drop(first);
        drop(ticket.room(seconds(1)).await.unwrap());
        stage.sums().await;
        assert_eq!(stage.at_the_desk(3).unwrap().amount(), usd(3));
    });
}

#[test]
fn what_is_settled_at_the_desk_raises_its_notices() {
    on_stage(vec![total("global", 10)], |stage| async move {
        stage.at_the_desk(9).unwrap().depart().settle(usd(9));
        assert_eq!(stage.sums().await, [9, 0, 0]);
        let notices = stage.notices.0.lock().unwrap();
        assert!(matches!(notices[..], [BudgetNotice::Threshold(_)]), "{notices:?}");
    });
}

#[test]
fn nothing_is_given_out_at_the_desk_of_a_budget_whose_books_a_panic_has_spoiled() {
    on_stage(vec![total("global", 10)], |stage| async move {
        let held = stage.at_the_desk(4).unwrap();
        assert!(stage.budget.send(Ruin).await.is_err());
        assert!(stage.at_the_desk(1).is_err());
        drop(held);
    });
}
