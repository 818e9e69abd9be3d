//! What a link does to the delay of others while it is full, as a grade.

/// The grades of DSLReports (<https://www.dslreports.com/faq/17930>): each is for less than so many milliseconds that a full link
/// adds to the round trip, in the mean of both directions.
const GRADES: [(f64, &str); 5] = [(5.0, "A+"), (30.0, "A"), (60.0, "B"), (200.0, "C"), (400.0, "D")];

/// The grade for this many milliseconds.
pub(super) fn grade(added_ms: f64) -> &'static str {
    GRADES.iter().find(|(limit, _)| added_ms < *limit).map_or("F", |(_, grade)| grade)
}

#[cfg(test)]
mod tests {
    use super::grade;

    #[test]
    fn a_grade_ends_where_the_next_one_begins() {
        let grades = [0.0, 4.9, 5.0, 29.9, 30.0, 60.0, 199.9, 200.0, 399.9, 400.0, 1e9].map(grade);
        assert_eq!(grades, ["A+", "A+", "A", "A", "B", "C", "C", "D", "D", "F", "F"]);
    }
}
