//! From text to tokens, each with its place.

use std::ops::Range;

use super::error::FilterError;

/// One token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Word(String),
    Text(String),
    Int(i64),
    Float(f64),
    Operator(Operator),
    Open,
    Close,
    OpenList,
    CloseList,
    Comma,
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

const OPERATORS: [(&str, Operator); 6] = [
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("<", Operator::Less),
    (">", Operator::Greater),
];
const MARKS: [(char, Token); 5] =
    [('(', Token::Open), (')', Token::Close), ('[', Token::OpenList), (']', Token::CloseList), (',', Token::Comma)];

/// A token and its bytes.
pub(super) type Placed = (Token, Range<usize>);

pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, FilterError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (token, length) = token(text, at, first)?;
        tokens.push((token, at..at + length));
        at += length;
    }
    Ok(tokens)
}

fn token(text: &str, at: usize, first: char) -> Result<(Token, usize), FilterError> {
    let rest = &text[at..];
    if let Some((mark, operator)) = OPERATORS.iter().find(|(mark, _)| rest.starts_with(mark)) {
        return Ok((Token::Operator(*operator), mark.len()));
    }
    if let Some((_, token)) = MARKS.iter().find(|(mark, _)| *mark == first) {
        return Ok((token.clone(), 1));
    }
    if first == '"' {
        return quoted(text, at);
    }
    if first.is_ascii_digit() || first == '-' || first == '.' {
        return number(text, at);
    }
    if first.is_alphabetic() || first == '_' {
        let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        return Ok((Token::Word(rest[..length].to_owned()), length));
    }
    let help = match first {
        '=' => "write == to compare",
        '&' => "write: and",
        '|' => "write: or",
        '!' => "write: not, or != to compare",
        '\'' => "text stands in double quotes",
        _ => "an expression looks like: n >= 256 and precision == \"f32\"",
    };
    Err(FilterError::new(text, at..at + first.len_utf8(), format!("unexpected {first:?}")).help(help))
}

/// Text in double quotes; there are no escapes, as no name holds a quote.
fn quoted(text: &str, at: usize) -> Result<(Token, usize), FilterError> {
    match text[at + 1..].find('"') {
        Some(length) => Ok((Token::Text(text[at + 1..at + 1 + length].to_owned()), length + 2)),
        None => Err(FilterError::new(text, at..text.len(), "this text has no closing quote").help("write for example: \"f32\"")),
    }
}

fn number(text: &str, at: usize) -> Result<(Token, usize), FilterError> {
    let rest = &text[at..];
    let mut before = ' ';
    let is_part = |c: char| {
        // A sign belongs to a number at its start and behind the exponent's mark.
        let part = c.is_ascii_alphanumeric() || c == '.' || c == '_' || ((c == '-' || c == '+') && matches!(before, ' ' | 'e' | 'E'));
        before = c;
        !part
    };
    let length = rest.find(is_part).unwrap_or(rest.len());
    let written = &rest[..length];
    let token = match (written.parse::<i64>(), written.parse::<f64>()) {
        (Ok(number), _) => Token::Int(number),
        (_, Ok(number)) if number.is_finite() => Token::Float(number),
        _ => return Err(FilterError::new(text, at..at + length, "this is no number").help("write for example: 128, 0.5 or 1e6")),
    };
    Ok((token, length))
}
