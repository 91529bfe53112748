//! Functions of each element.

use crate::activation::Activation;
use crate::elementary::{MAX_DEGREE, MAX_TABLE_BITS};

/// Elementwise functions of one argument.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum UnaryOp {
    /// An activation function.
    Activation(Activation),
    /// e^x.
    Exp,
    /// 2^x.
    Exp2,
    /// e^x as a power of two times a Taylor polynomial: see [`crate::elementary::exp_polynomial`].
    ExpPolynomial {
        /// Of the polynomial, 1..=8.
        degree: u32,
    },
    /// e^x as a power of two times an entry of a table: see [`crate::elementary::exp_table`].
    ExpTable {
        /// Logarithm of the number of entries, 1..=12.
        bits: u32,
    },
    /// The Taylor polynomial of e^x at 0, without a reduction: see [`crate::elementary::exp_taylor`].
    ExpTaylor {
        /// Of the polynomial, 1..=8.
        degree: u32,
    },
    /// Natural logarithm.
    Log,
    /// Square root.
    Sqrt,
    /// 1 / x.
    Reciprocal,
    /// x^2.
    Square,
    /// |x|.
    Abs,
    /// -x.
    Negate,
    /// Cosine.
    Cos,
    /// Sine.
    Sin,
    /// Hyperbolic tangent.
    Tanh,
    /// 1 / (1 + e^-x).
    Sigmoid,
    /// elu(x) + 1, the feature map of linear attention.
    EluPlusOne,
    /// scale x + shift.
    Affine {
        /// Factor.
        scale: f64,
        /// Summand.
        shift: f64,
    },
}

impl UnaryOp {
    /// Why a parameter is outside what is defined; engines answer with it that they do not have the function.
    pub fn undefined(self) -> Option<String> {
        let (parameter, value, most) = match self {
            Self::ExpPolynomial { degree } | Self::ExpTaylor { degree } => ("degree", degree, MAX_DEGREE),
            Self::ExpTable { bits } => ("bits", bits, MAX_TABLE_BITS),
            _ => return None,
        };
        (value == 0 || value > most).then(|| format!("{parameter} {value} is outside 1..={most}"))
    }

    /// Operations counted for one element by the cost model: one a function, but a polynomial is counted by its terms.
    pub fn flops(self) -> u64 {
        match self {
            Self::ExpPolynomial { degree } | Self::ExpTaylor { degree } => 2 * u64::from(degree),
            _ => 1,
        }
    }
}

/// Elementwise functions of two arguments of one shape (broadcast by layout).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// a + b.
    Add,
    /// a - b.
    Subtract,
    /// a b.
    Multiply,
    /// a / b.
    Divide,
    /// The larger; NaN if either is.
    Maximum,
    /// The smaller; NaN if either is.
    Minimum,
    /// 1 where a = b, else 0.
    Equal,
    /// 1 where a < b, else 0.
    Less,
}
