//! The report as one page that needs nothing else: no network, no fonts, no script for what matters.

mod axis;
mod bins;
mod cards;
mod chart;
mod gantt;
mod latency;
mod limits;
mod over_time;
mod page;
mod sweep;
mod tables;
#[cfg(test)]
mod tests;
mod waits;
mod words;

use super::Report;

pub use sweep::html as sweep_html;

impl Report {
    /// The report as an HTML page of at most 400 kB, the same bytes for the same report.
    ///
    /// Charts are drawn as SVG within it; a short script shows their figures under the pointer.
    pub fn html(&self) -> String {
        let title = format!("Rehearsal of {}", self.scenario);
        let mut body = cards::head(self, &title);
        body.push_str(&cards::cards(self));
        body.push_str(&page::section(
            "What is in the way",
            "How far each limit is used, on average (a budget: in its fullest window), and what a \
             fifth more of it would change. Each line is a run of its own with the same random \
             numbers.",
            &limits::html(self),
        ));
        body.push_str(&page::section("Over time", &over_time::about(self), &over_time::html(self)));
        body.push_str(&page::section(
            "Where the time of a task goes",
            "From its arrival to its end, by what it waits for.",
            &(waits::html(self.first()) + &latency::html(self)),
        ));
        body.push_str(&gantt::html(self.first()));
        body.push_str(&tables::errors(self.first()));
        body.push_str(&tables::replicas(self));
        body.push_str(&tables::assumptions(self));
        body.push_str(&tables::facts(self));
        page::page(&title, &body)
    }
}
