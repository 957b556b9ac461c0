//! Which subjects of a stream are meant: everything, or what one of some patterns matches.

use natsune_protocol::subject;

use super::subjects::Subjects;

#[derive(Debug, Clone)]
struct Pattern {
    text: String,
    literal: bool,
}

/// A set of patterns; none is everything. Remembers per subject number whether it matched.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    patterns: Vec<Pattern>,
    memo: Vec<u64>,
}

impl Filter {
    /// A filter over patterns; none is everything.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Filter {
        let patterns = patterns
            .into_iter()
            .map(|text| Pattern { text: text.to_owned(), literal: subject::is_literal(text) })
            .collect();
        Filter { patterns, memo: Vec::new() }
    }

    /// Whether everything matches.
    pub fn is_all(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The patterns.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().map(|pattern| pattern.text.as_str())
    }

    /// The patterns, when there are few and all are subjects themselves.
    pub fn literals(&self) -> Option<impl Iterator<Item = &str>> {
        let few = !self.patterns.is_empty() && self.patterns.len() <= 16;
        (few && self.patterns.iter().all(|pattern| pattern.literal)).then(|| self.patterns())
    }

    /// Whether a subject matches.
    pub fn matches(&self, name: &str) -> bool {
        self.patterns.is_empty()
            || self.patterns.iter().any(|pattern| match pattern.literal {
                true => pattern.text == name,
                false => subject::matches(&pattern.text, name),
            })
    }

    /// Whether a subject of the stream matches, by its number.
    pub fn matches_id(&mut self, subjects: &Subjects, id: u32) -> bool {
        if self.patterns.is_empty() {
            return true;
        }
        let generation = u64::from(subjects.generation(id));
        match self.memo.get(id as usize) {
            Some(memo) if *memo >> 1 == generation => return memo & 1 == 1,
            Some(_) => {}
            None => self.memo.resize(id as usize + 1, 0),
        }
        let matched = self.matches(subjects.name(id));
        if let Some(memo) = self.memo.get_mut(id as usize) {
            *memo = generation << 1 | u64::from(matched);
        }
        matched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_only_as_long_as_the_number_means_the_same() {
        let mut filter = Filter::new(["a.*", "b"]);
        let mut subjects = Subjects::default();
        let id = subjects.add("a.x", 1);
        assert!(filter.matches_id(&subjects, id) && filter.matches_id(&subjects, id));
        let other = subjects.add("c", 2);
        assert!(!filter.matches_id(&subjects, other));
        assert!(filter.matches("b") && !filter.matches("a.b.c"));
        assert!(Filter::default().matches("anything") && Filter::default().is_all());
        assert!(filter.literals().is_none() && Filter::new(["a", "b"]).literals().is_some());
    }
}
