//! The minimum of a function of three numbers without its derivatives (Nelder and Mead, 1965).

/// Most evaluations of the function from one start.
const MOST: usize = 400;

/// The search ends where best and worst value differ by less than this part.
const CLOSE: f64 = 1e-8;

type Point = [f64; 3];

/// The point where `of` is least, as far as a search from `start` finds it: from there it begins
/// twice more, so that a simplex that collapsed early does not end it. Deterministic.
pub(super) fn minimum(start: Point, of: impl Fn(&Point) -> f64) -> Point {
    (0..3).fold(start, |start, round| search(start, 0.5 / f64::from(1 << round), &of))
}

fn search(start: Point, step: f64, of: &impl Fn(&Point) -> f64) -> Point {
    let corner = |place: usize| {
        let mut point = start;
        if place > 0 {
            point[place - 1] += step;
        }
        (of(&point), point)
    };
    let mut corners: [(f64, Point); 4] = std::array::from_fn(corner);
    let mut evaluated = corners.len();
    while evaluated < MOST {
        corners.sort_by(|a, b| a.0.total_cmp(&b.0));
        let [(best, _), _, (second, _), (worst, last)] = corners;
        if worst - best <= CLOSE * best.abs() {
            break;
        }
        let middle: Point = std::array::from_fn(|axis| {
            (0..3).map(|place| corners[place].1[axis]).sum::<f64>() / 3.0
        });
        let along = |times: f64| -> (f64, Point) {
            let point =
                std::array::from_fn(|axis| middle[axis] + times * (last[axis] - middle[axis]));
            (of(&point), point)
        };
        let reflected = along(-1.0);
        evaluated += 2;
        corners[3] = if reflected.0 < best {
            let farther = along(-2.0);
            if farther.0 < reflected.0 { farther } else { reflected }
        } else if reflected.0 < second {
            reflected
        } else {
            let nearer = along(0.5);
            if nearer.0 < worst {
                nearer
            } else {
                evaluated += 3;
                let best = corners[0].1;
                for corner in &mut corners[1..] {
                    let point = std::array::from_fn(|axis| (corner.1[axis] + best[axis]) / 2.0);
                    *corner = (of(&point), point);
                }
                continue;
            }
        };
    }
    corners.sort_by(|a, b| a.0.total_cmp(&b.0));
    corners[0].1
}
