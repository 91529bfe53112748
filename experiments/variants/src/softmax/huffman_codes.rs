//! Huffman codes of a vocabulary whose words are numbered by falling frequency, after Zipf's law: frequency 1 / rank.
//!
//! Huffman 1952, by the method with two queues (van Leeuwen 1976): leaves sorted by frequency and inner nodes in the order of their making
//! are both sorted, so that a tree takes O(words). Where the longest code would be longer than allowed, frequencies are raised to a floor
//! until it fits, which lengthens the codes of frequent words a little.

/// One word's way from the root.
pub(super) struct Code {
    /// Inner nodes, the root first, and 1 or -1 for the side that is taken at each.
    pub(super) steps: Vec<(usize, f64)>,
}

/// A tree: nodes below `words` are words, the others inner nodes in the order of their making.
struct Tree {
    words: usize,
    /// Of each node but the root: its parent, and the side that it is on.
    parents: Vec<(usize, f64)>,
}

impl Tree {
    /// Joins the two rarest nodes until one is left.
    fn new(words: usize, frequency: impl Fn(usize) -> f64) -> Self {
        let mut parents = vec![(0, 1.0); 2 * words - 1];
        let mut inner: Vec<f64> = Vec::with_capacity(words);
        // Words not joined yet are 0..leaves, the rarest last; inner nodes not joined yet are joined.. on.
        let (mut leaves, mut joined) = (words, 0);
        while inner.len() + 1 < words {
            let mut sum = 0.0;
            for side in [1.0, -1.0] {
                let leaf = leaves.checked_sub(1).map(&frequency);
                let take_leaf = match (leaf, inner.get(joined)) {
                    (Some(leaf), Some(node)) => leaf <= *node,
                    (leaf, _) => leaf.is_some(),
                };
                let node = if take_leaf {
                    leaves -= 1;
                    sum += frequency(leaves);
                    leaves
                } else {
                    sum += inner[joined];
                    joined += 1;
                    words + joined - 1
                };
                parents[node] = (words + inner.len(), side);
            }
            inner.push(sum);
        }
        Self { words, parents }
    }

    fn code(&self, word: usize) -> Code {
        let (mut steps, mut node) = (Vec::new(), word);
        while node + 1 < self.parents.len() {
            let (parent, side) = self.parents[node];
            steps.push((parent - self.words, side));
            node = parent;
        }
        steps.reverse();
        Code { steps }
    }
}

/// A code for each word, none longer than `longest`, where 2^longest is at least the number of words.
pub(super) fn codes(words: usize, longest: usize) -> Vec<Code> {
    let zipf = |word: usize| 1.0 / (word + 1) as f64;
    let mut floor = 0.0;
    loop {
        let tree = Tree::new(words, |word| f64::max(zipf(word), floor));
        let codes: Vec<Code> = (0..words).map(|word| tree.code(word)).collect();
        // With all frequencies equal the tree is as flat as it can be.
        if floor >= 1.0 || codes.iter().all(|code| code.steps.len() <= longest) {
            return codes;
        }
        floor = f64::max(2.0 * floor, 2.0 * zipf(words - 1)).min(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(words: usize, longest: usize) -> Vec<usize> {
        codes(words, longest).iter().map(|code| code.steps.len()).collect()
    }

    /// Mean length of a code in bits.
    fn mean(lengths: &[usize]) -> f64 {
        let total: f64 = (1..=lengths.len()).map(|rank| 1.0 / rank as f64).sum();
        lengths.iter().enumerate().map(|(word, length)| *length as f64 / (word + 1) as f64).sum::<f64>() / total
    }

    #[test]
    fn codes_fill_the_tree_and_are_within_a_bit_of_the_entropy() {
        for words in [2usize, 3, 17, 1000] {
            let lengths = lengths(words, 24);
            let kraft: f64 = lengths.iter().map(|length| 0.5f64.powi(*length as i32)).sum();
            assert!((kraft - 1.0).abs() < 1e-12, "{words} words: {kraft}");
            let total: f64 = (1..=words).map(|rank| 1.0 / rank as f64).sum();
            let entropy: f64 = (1..=words).map(|rank| (rank as f64 * total).log2() / (rank as f64 * total)).sum();
            assert!(mean(&lengths) >= entropy - 1e-12 && mean(&lengths) < entropy + 1.0, "{words} words");
        }
    }

    #[test]
    fn no_code_is_longer_than_allowed() {
        assert!(lengths(1000, 24).into_iter().max() > Some(11));
        for longest in [10, 11] {
            assert!(lengths(1000, longest).into_iter().all(|length| length <= longest), "{longest}");
        }
        assert_eq!(lengths(8, 3), [3; 8]);
        assert!(mean(&lengths(1000, 11)) >= mean(&lengths(1000, 24)));
    }

    #[test]
    fn no_code_begins_another() {
        let sides: Vec<Vec<(usize, bool)>> =
            codes(50, 24).into_iter().map(|code| code.steps.into_iter().map(|(node, side)| (node, side > 0.0)).collect()).collect();
        for (at, first) in sides.iter().enumerate() {
            assert!(sides.iter().enumerate().all(|(other, second)| other == at || !second.starts_with(first)));
        }
    }
}
