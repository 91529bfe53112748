//! Closed-form cost models as text: small arithmetic over a variant's axes, so that what `list variants` shows is what is checked.
//!
//! Grammar: sums of products of powers; numbers, axis names, parentheses, and the functions `min`, `max`, `ceil`, `floor` and `log2`.
//! An axis that holds a name may be compared: `is(position, pre)` is 1 or 0; one that holds a list or a bitmap may be counted: `listed(axis)`
//! entries, `ones(axis)` and, of those, `diagonal(axis)`; one that holds an activation's name stands for the operations
//! that the activation takes. Division is exact; use `ceil` or `floor` where the code rounds.

use crossover_core::activation::Activation;
use crossover_core::axes::{Axes, AxisValue};

/// Counts something in a text.
type Count = fn(&str) -> usize;

/// What may be counted, by the function's name.
const COUNTS: [(&str, Count); 3] = [("listed", listed), ("ones", ones), ("diagonal", diagonal)];

/// The items of a list in an axis of text, parted by plus signs. Commas and slashes part them too, where a file can say so: on the command
/// line a comma parts the values of an axis. An empty text has none.
pub fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split([',', '+', '/']).map(str::trim).filter(move |_| !list.is_empty())
}

fn listed(text: &str) -> usize {
    items(text).count()
}

fn ones(text: &str) -> usize {
    text.matches('1').count()
}

/// Ones at the place of their row, rows being separated by slashes.
fn diagonal(text: &str) -> usize {
    text.split('/').enumerate().filter(|(at, row)| row.as_bytes().get(*at) == Some(&b'1')).count()
}

/// The value of a formula for resolved axes; the error says what cannot be read, and where.
pub fn evaluate(formula: &str, axes: &Axes) -> Result<f64, String> {
    let mut reader = Reader { rest: formula, axes };
    let value = reader.sum()?;
    reader.skip_space();
    if reader.rest.is_empty() { Ok(value) } else { Err(format!("unexpected {:?} in {formula:?}", reader.rest)) }
}

struct Reader<'a> {
    rest: &'a str,
    axes: &'a Axes,
}

impl<'a> Reader<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, symbol: char) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(symbol) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, symbol: char) -> Result<(), String> {
        if self.eat(symbol) { Ok(()) } else { Err(format!("expected {symbol:?} before {:?}", self.rest)) }
    }

    fn sum(&mut self) -> Result<f64, String> {
        let mut total = self.product()?;
        loop {
            if self.eat('+') {
                total += self.product()?;
            } else if self.eat('-') {
                total -= self.product()?;
            } else {
                return Ok(total);
            }
        }
    }

    fn product(&mut self) -> Result<f64, String> {
        let mut total = self.power()?;
        loop {
            if self.eat('*') {
                total *= self.power()?;
            } else if self.eat('/') {
                total /= self.power()?;
            } else {
                return Ok(total);
            }
        }
    }

    fn power(&mut self) -> Result<f64, String> {
        let base = self.atom()?;
        if self.eat('^') { Ok(base.powf(self.atom()?)) } else { Ok(base) }
    }

    fn atom(&mut self) -> Result<f64, String> {
        self.skip_space();
        if self.eat('(') {
            let value = self.sum()?;
            self.expect(')')?;
            return Ok(value);
        }
        let word = self.word();
        if word.is_empty() {
            return Err(format!("expected a value before {:?}", self.rest));
        }
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return word.parse().map_err(|_| format!("{word:?} is no number"));
        }
        if self.eat('(') { self.function(word) } else { self.axis(word) }
    }

    fn word(&mut self) -> &'a str {
        self.skip_space();
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.')).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn function(&mut self, name: &str) -> Result<f64, String> {
        if name == "is" {
            return self.comparison();
        }
        if let Some((_, count)) = COUNTS.iter().find(|(own, _)| *own == name) {
            let text = self.text_of()?;
            self.expect(')')?;
            return Ok(count(text) as f64);
        }
        let mut arguments = vec![self.sum()?];
        while self.eat(',') {
            arguments.push(self.sum()?);
        }
        self.expect(')')?;
        match (name, &arguments[..]) {
            ("min", [a, b]) => Ok(a.min(*b)),
            ("max", [a, b]) => Ok(a.max(*b)),
            ("ceil", [a]) => Ok(a.ceil()),
            ("floor", [a]) => Ok(a.floor()),
            ("log2", [a]) => Ok(a.log2()),
            _ => Err(format!("there is no function {name:?} of {} arguments", arguments.len())),
        }
    }

    /// The text that an axis holds.
    fn text_of(&mut self) -> Result<&'a str, String> {
        let axis = self.word();
        self.axes.get(axis).and_then(AxisValue::as_text).ok_or_else(|| format!("{axis:?} is no axis with a text"))
    }

    /// `is(axis, name)`.
    fn comparison(&mut self) -> Result<f64, String> {
        let (inside, rest) = self.rest.split_once(')').ok_or("is( .. has no end")?;
        self.rest = rest;
        let (axis, wanted) = inside.split_once(',').ok_or("is(axis, name) takes two arguments")?;
        let value = self.axes.get(axis.trim()).and_then(AxisValue::as_text).ok_or_else(|| format!("{axis:?} is no axis with names"))?;
        Ok(f64::from(value == wanted.trim()))
    }

    fn axis(&self, name: &str) -> Result<f64, String> {
        let value = self.axes.get(name);
        let activation = value.and_then(AxisValue::as_text).and_then(Activation::from_name);
        let number = value.and_then(AxisValue::as_float).or(activation.map(|activation| activation.flops() as f64));
        number.ok_or_else(|| format!("there is no axis {name:?} with a number"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes() -> Axes {
        let texts = [("mode", "mean-pool"), ("none", ""), ("heads", "0,2,5"), ("bitmap", "110/011/100")];
        let numbers = [("n", AxisValue::Int(8)), ("rank", AxisValue::Int(3))];
        let all = numbers.into_iter().chain(texts.map(|(name, text)| (name, AxisValue::from(text))));
        all.map(|(name, value)| (name.to_owned(), value)).collect()
    }

    #[test]
    fn arithmetic_is_read_as_usual() {
        for (formula, value) in [
            ("2*n + rank", 19.0),
            ("2 * (n - rank) ^ 2", 50.0),
            ("n/rank*rank", 8.0),
            ("ceil(n/rank) + floor(n/rank) + log2(n)", 8.0),
            ("min(n, rank) - max(n, rank)", -5.0),
            ("n*is(mode, mean-pool) + is(mode, learned)", 8.0),
            ("1.5*n", 12.0),
            ("listed(heads) + 10*listed(none)", 3.0),
            ("ones(bitmap)*n + diagonal(bitmap)", 42.0),
            ("is(none,)*n + is(mode,)", 8.0),
        ] {
            assert_eq!(evaluate(formula, &axes()), Ok(value), "{formula}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for (formula, complaint) in [
            ("2*width", "there is no axis \"width\" with a number"),
            ("2*", "expected a value before \"\""),
            ("(n", "expected ')' before \"\""),
            ("n n", "unexpected \"n\" in \"n n\""),
            ("ones(n)", "\"n\" is no axis with a text"),
            ("root(n)", "there is no function \"root\" of 1 arguments"),
        ] {
            assert_eq!(evaluate(formula, &axes()), Err(complaint.to_owned()));
        }
    }
}
