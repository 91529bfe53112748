//! From tokens to a checked expression. Recursive descent; `and` and `or` are lists, so that only parentheses and `not` nest, and
//! those are bounded.

use std::ops::Range;

use super::columns::{Columns, Kind};
use super::error::FilterError;
use super::evaluate::{Expression, Operand};
use super::lexer::{Operator, Placed, Token, tokens};

type Result<T> = std::result::Result<T, FilterError>;

/// Parentheses and `not` inside each other; far beyond what a person writes, far below what a stack holds.
const DEEPEST: usize = 64;

pub(super) fn parse(text: &str) -> Result<Expression> {
    let mut parser = Parser { text, tokens: tokens(text)?, at: 0, depth: 0, columns: Columns::registered() };
    let expression = parser.any_of()?;
    match parser.peek() {
        None => Ok(expression),
        Some(_) => Err(parser.unexpected("`and`, `or` or the end")),
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Placed>,
    at: usize,
    depth: usize,
    columns: Columns,
}

/// An operand, its kind and its place.
struct Typed {
    operand: Operand,
    kind: Kind,
    span: Range<usize>,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    fn peek_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(found)) if found == word)
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.peek_word(word);
        self.at += usize::from(found);
        found
    }

    fn take(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }

    /// The bytes of the next token, or the end of the text.
    fn span(&self) -> Range<usize> {
        self.tokens.get(self.at).map_or(self.text.len()..self.text.len(), |(_, span)| span.clone())
    }

    fn unexpected(&self, wanted: &str) -> FilterError {
        let found = self.text.get(self.span()).filter(|found| !found.is_empty()).unwrap_or("the end");
        FilterError::new(self.text, self.span(), format!("expected {wanted}, found {}", shortened(found)))
    }

    fn any_of(&mut self) -> Result<Expression> {
        let mut parts = vec![self.all_of()?];
        while self.take_word("or") {
            parts.push(self.all_of()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::Any(parts) })
    }

    fn all_of(&mut self) -> Result<Expression> {
        let mut parts = vec![self.negation()?];
        while self.take_word("and") {
            parts.push(self.negation()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::All(parts) })
    }

    fn negation(&mut self) -> Result<Expression> {
        let span = self.span();
        if self.take_word("not") {
            return self.nested(span, |parser| Ok(Expression::Not(Box::new(parser.negation()?))));
        }
        if self.take(&Token::Open) {
            return self.nested(span, |parser| {
                let inner = parser.any_of()?;
                if parser.take(&Token::Close) { Ok(inner) } else { Err(parser.unexpected("`)`")) }
            });
        }
        self.comparison()
    }

    fn nested(&mut self, span: Range<usize>, inner: impl FnOnce(&mut Self) -> Result<Expression>) -> Result<Expression> {
        if self.depth == DEEPEST {
            return Err(FilterError::new(self.text, span, format!("more than {DEEPEST} parentheses or `not` inside each other")));
        }
        self.depth += 1;
        let expression = inner(self);
        self.depth -= 1;
        expression
    }

    fn comparison(&mut self) -> Result<Expression> {
        let left = self.operand()?;
        if let Some(&Token::Operator(operator)) = self.peek() {
            let span = self.span();
            self.at += 1;
            let right = self.operand()?;
            return self.compare(left, operator, span, right);
        }
        if self.take_word("in") {
            return self.membership(left);
        }
        match (left.operand, left.kind) {
            (operand, Kind::Truth) => Ok(Expression::Truth(operand)),
            _ => Err(self.unexpected("a comparison such as == or `in [..]`")),
        }
    }

    fn compare(&self, mut left: Typed, operator: Operator, span: Range<usize>, mut right: Typed) -> Result<Expression> {
        if left.operand.is_constant() && right.operand.is_constant() {
            let whole = left.span.start..right.span.end;
            return Err(FilterError::new(self.text, whole, "this compares two constants").help("one side must be a column"));
        }
        self.agree(&mut left, &mut right)?;
        let ordered = !matches!(operator, Operator::Equal | Operator::NotEqual);
        let has_order = |kind: &Kind| matches!(kind, Kind::Number | Kind::Mixed);
        if ordered && !(has_order(&left.kind) && has_order(&right.kind)) {
            let message = format!("{} has no order", if left.kind == Kind::Truth { "true or false" } else { "text" });
            return Err(FilterError::new(self.text, span, message).help("compare it by == or !=, or by `in [..]`"));
        }
        Ok(Expression::Compare(left.operand, operator, right.operand))
    }

    fn membership(&mut self, mut left: Typed) -> Result<Expression> {
        if left.operand.is_constant() {
            return Err(FilterError::new(self.text, left.span, "`in` asks about a column").help("write for example: n in [128, 256]"));
        }
        if !self.take(&Token::OpenList) {
            return Err(self.unexpected("a list such as [\"f32\", \"bf16\"]"));
        }
        let mut items = Vec::new();
        while !self.take(&Token::CloseList) {
            let mut item = self.operand()?;
            if !item.operand.is_constant() {
                return Err(FilterError::new(self.text, item.span, "a list holds constants only"));
            }
            self.agree(&mut left, &mut item)?;
            items.push(item.operand);
            if !self.take(&Token::Comma) && self.peek() != Some(&Token::CloseList) {
                return Err(self.unexpected("`,` or `]`"));
            }
        }
        Ok(Expression::In(left.operand, items))
    }

    fn operand(&mut self) -> Result<Typed> {
        let span = self.span();
        let (operand, kind) = match self.peek() {
            Some(Token::Text(text)) => (Operand::Text(text.clone()), Kind::Text),
            Some(Token::Int(number)) => (Operand::Int(*number), Kind::Number),
            Some(Token::Float(number)) => (Operand::Float(*number), Kind::Number),
            Some(Token::Word(word)) if word == "true" || word == "false" => (Operand::Truth(word == "true"), Kind::Truth),
            Some(Token::Word(word)) if !matches!(word.as_str(), "and" | "or" | "not" | "in") => match self.columns.find(word) {
                Ok((name, kind)) => (Operand::column(name), kind.clone()),
                Err(help) => return Err(FilterError::new(self.text, span, format!("unknown column {}", shortened(word))).help(help)),
            },
            _ => return Err(self.unexpected("a column or a value")),
        };
        self.at += 1;
        Ok(Typed { operand, kind, span })
    }

    /// Both sides must be of a kind; constant text gets the spelling of the column's cells.
    fn agree(&self, left: &mut Typed, right: &mut Typed) -> Result<()> {
        let class = |kind: &Kind| match kind {
            Kind::Number => Some("a number"),
            Kind::Truth => Some("true or false"),
            Kind::Mixed => None,
            Kind::Text | Kind::Names(_) | Kind::Precision => Some("text"),
        };
        if let (Some(one), Some(other)) = (class(&left.kind), class(&right.kind))
            && one != other
        {
            let help = if other == "text" { "numbers stand without quotes" } else { "text stands in double quotes" };
            return Err(FilterError::new(self.text, right.span.clone(), format!("{one} is compared with {other}")).help(help));
        }
        self.spell(left, &right.kind)?;
        self.spell(right, &left.kind)
    }

    /// Constant text as the cells of that column spell it.
    fn spell(&self, constant: &mut Typed, column: &Kind) -> Result<()> {
        let Operand::Text(text) = &mut constant.operand else { return Ok(()) };
        let spelled = column.canonical(text).map_err(|help| {
            FilterError::new(self.text, constant.span.clone(), format!("this column never holds {}", shortened(text))).help(help)
        })?;
        *text = spelled;
        Ok(())
    }
}

fn shortened(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    if short.len() < text.len() { format!("{short:?}..") } else { format!("{short:?}") }
}
