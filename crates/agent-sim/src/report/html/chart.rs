//! A chart: geometry in SVG that stretches to its place, words in HTML that do not, and the same
//! figures as a table, which is also what the pointer reads.

use std::fmt::Write as _;

use super::axis::Axis;
use super::words::{escaped, place};

/// A line or an area of a chart, with a value for each of its points.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) name: String,
    /// The class that colours it: `provider`, `accent`.
    pub(super) class: &'static str,
    pub(super) values: Vec<f64>,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Line,
    /// A line with a dot at each point.
    Dotted,
    /// Above the areas before it.
    Stacked,
    /// A line that belongs to a crowd: thin, not in the table.
    Faint,
}

/// A level that is not to be crossed, or a place on the other axis.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) at: f64,
    pub(super) label: String,
    pub(super) class: &'static str,
}

#[derive(Debug)]
pub(super) struct Chart<'a> {
    /// The anchor; of its kind the only one on the page.
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    /// What is on the axes, with units; HTML.
    pub(super) about: String,
    /// What the first column of the table is: `time`.
    pub(super) first: &'a str,
    pub(super) x: Axis,
    pub(super) y: Axis,
    /// Where the points stand on the x axis.
    pub(super) points: Vec<f64>,
    pub(super) series: Vec<Series>,
    /// Horizontal, at values of y.
    pub(super) levels: Vec<Mark>,
    /// Vertical, at values of x.
    pub(super) moments: Vec<Mark>,
}

/// So many labels of the x axis stand side by side on a narrow page.
const FEW: usize = 4;

/// Units of the drawing; it is stretched, so they are shares of a thousand.
const SIZE: f64 = 1_000.0;

impl Chart<'_> {
    /// The chart as a `<figure>`.
    pub(super) fn html(&self) -> String {
        let mut out = String::new();
        let title = escaped(self.title);
        // Writing to a string cannot fail, here and below.
        _ = write!(
            out,
            "<figure class=\"chart\" id=\"{}\">\n<figcaption><h3>{title}</h3><p>{}</p>{}</figcaption>\n",
            self.id,
            self.about,
            self.legend()
        );
        _ = write!(
            out,
            "<div class=\"plot{2}{3}\"><svg viewBox=\"0 0 1000 1000\" preserveAspectRatio=\"none\" role=\"img\" \
             aria-labelledby=\"{0}-t {0}-d\"><title id=\"{0}-t\">{title}</title><desc id=\"{0}-d\">{1}</desc>",
            self.id,
            self.description(),
            if self.y.ticks().any(|(_, label)| label.chars().count() > 7) { " wide" } else { "" },
            if self.x.room().is_some() { " named" } else { "" }
        );
        self.grid(&mut out);
        self.shapes(&mut out);
        self.marks(&mut out);
        out.push_str("</svg>");
        self.labels(&mut out);
        out.push_str("</div>\n");
        self.table(&mut out);
        out.push_str("</figure>\n");
        out
    }

    fn shown(&self) -> impl Iterator<Item = &Series> {
        self.series.iter().filter(|series| series.kind != Kind::Faint)
    }

    fn legend(&self) -> String {
        if self.shown().count() < 2 {
            return String::new();
        }
        let entry = |series: &Series| {
            format!("<li class=\"{}\">{}</li>", series.class, escaped(&series.name))
        };
        format!("<ul class=\"legend\">{}</ul>", self.shown().map(entry).collect::<String>())
    }

    /// For who cannot see it: from where to where each series goes.
    fn description(&self) -> String {
        let range = |series: &Series| {
            let most = series.values.iter().copied().fold(0.0, f64::max);
            let last = series.values.last().copied().unwrap_or_default();
            let name = escaped(&series.name);
            format!("{name}: at most {}, at the end {}. ", self.y.show(most), self.y.show(last))
        };
        self.shown().map(range).collect::<String>() + "The figures are in the table below."
    }

    fn grid(&self, out: &mut String) {
        let mut path = String::new();
        for (at, _) in self.y.ticks() {
            _ = write!(path, "M0 {}H1000", place(SIZE * (1.0 - at)));
        }
        _ = write!(out, "<path class=\"grid\" d=\"{path}\"/>");
    }

    fn shapes(&self, out: &mut String) {
        let xs: Vec<f64> = self.points.iter().map(|x| self.x.at(*x) * SIZE).collect();
        let mut floor = vec![0.0; xs.len()];
        for series in &self.series {
            match series.kind {
                Kind::Stacked => {
                    let top: Vec<f64> =
                        floor.iter().zip(&series.values).map(|(low, value)| low + value).collect();
                    let up = line(&xs, &top, &self.y);
                    let back: Vec<f64> = xs.iter().rev().copied().collect();
                    let low: Vec<f64> = floor.iter().rev().copied().collect();
                    let down = line(&back, &low, &self.y).replacen('M', "L", 1);
                    _ = write!(out, "<path class=\"area {}\" d=\"{up}{down}Z\"/>", series.class);
                    floor = top;
                }
                Kind::Line | Kind::Faint | Kind::Dotted => {
                    let faint = if series.kind == Kind::Faint { " faint" } else { "" };
                    let path = line(&xs, &series.values, &self.y);
                    _ = write!(out, "<path class=\"line {}{faint}\" d=\"{path}\"/>", series.class);
                }
            }
            if series.kind == Kind::Dotted {
                let dot = |(x, value): (&f64, &f64)| {
                    format!("M{} {}h0", place(*x), place(SIZE * (1.0 - self.y.at(*value))))
                };
                let dots: String = xs.iter().zip(&series.values).map(dot).collect();
                _ = write!(out, "<path class=\"dots {}\" d=\"{dots}\"/>", series.class);
            }
        }
    }

    fn marks(&self, out: &mut String) {
        for mark in &self.levels {
            let y = place(SIZE * (1.0 - self.y.at(mark.at)));
            _ = write!(out, "<path class=\"mark {}\" d=\"M0 {y}H1000\"/>", mark.class);
        }
        for mark in &self.moments {
            let x = place(SIZE * self.x.at(mark.at));
            _ = write!(out, "<path class=\"mark {}\" d=\"M{x} 0V1000\"/>", mark.class);
        }
    }

    fn labels(&self, out: &mut String) {
        for (at, label) in self.y.ticks() {
            _ = write!(out, "<i class=\"y\" style=\"bottom:{}%\">{label}</i>", place(at * 100.0));
        }
        // Few have room side by side on a narrow page, too; of more, each other one.
        let many = self.x.ticks().count() > FEW;
        let room = self.x.room().map(|room| place(room * 100.0));
        let room = room.map_or_else(String::new, |room| format!(";--room:{room}%"));
        for (tick, (at, label)) in self.x.ticks().enumerate() {
            let class = match (many, tick % 2) {
                (true, 0) => " even",
                (true, _) => " odd",
                (false, _) => "",
            };
            _ = write!(
                out,
                "<i class=\"x{class}\" style=\"left:{}%{room}\">{label}</i>",
                place(at * 100.0)
            );
        }
        for mark in &self.levels {
            let (at, label) = (self.y.at(mark.at), &mark.label);
            let low = if at > 0.9 { " low" } else { "" };
            _ = write!(
                out,
                "<b class=\"level {}{low}\" style=\"bottom:{}%\">{label}</b>",
                mark.class,
                place(at * 100.0)
            );
        }
        for (row, mark) in self.moments.iter().enumerate() {
            let (at, label) = (self.x.at(mark.at), &mark.label);
            let left = if at > 0.75 { " left" } else { "" };
            _ = write!(
                out,
                "<b class=\"moment {}{left}\" style=\"left:{}%;bottom:{}px\">{label}</b>",
                mark.class,
                place(at * 100.0),
                6 + 17 * row
            );
        }
    }

    fn table(&self, out: &mut String) {
        let heads =
            self.shown().map(|series| format!("<th scope=\"col\">{}", escaped(&series.name)));
        _ = writeln!(
            out,
            "<details><summary>Figures</summary><div class=\"scroll\" tabindex=\"0\" role=\"region\" \
             aria-label=\"{0}, figures\"><table><caption>{0}</caption><thead><tr><th scope=\"col\">{1}{2}</thead><tbody>",
            escaped(self.title),
            escaped(self.first),
            heads.collect::<String>()
        );
        for (row, x) in self.points.iter().enumerate() {
            let at = place(self.x.at(*x) * 100.0);
            _ = write!(out, "<tr data-at=\"{at}\"><th scope=\"row\">{}", self.x.show(*x));
            for series in self.shown() {
                _ = write!(out, "<td>{}", self.y.show(series.values[row]));
            }
            out.push('\n');
        }
        out.push_str("</tbody></table></div></details>\n");
    }
}

/// A path through points; a point amid a level stretch is left out.
fn line(xs: &[f64], values: &[f64], y: &Axis) -> String {
    let ys: Vec<String> = values.iter().map(|value| place(SIZE * (1.0 - y.at(*value)))).collect();
    let mut path = String::new();
    for (at, x) in xs.iter().enumerate() {
        let level = at > 0 && at + 1 < xs.len() && ys[at] == ys[at - 1] && ys[at] == ys[at + 1];
        if !level {
            let command = if path.is_empty() { 'M' } else { 'L' };
            _ = write!(path, "{command}{} {}", place(*x), ys[at]);
        }
    }
    path
}
