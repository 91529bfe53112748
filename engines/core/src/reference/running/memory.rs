//! What an operation takes here beside its operands: for predictions of what a reference needs.

use crate::cost::Cost;
use crate::dtype::Precision;
use crate::ops::OpSpec;

/// A value and the variance of its error.
const ELEMENT: u64 = 16;

/// Bytes of the dense copies that an operation makes of what it reads, of its results before they are stored, and of what products keep of
/// their right factor. Of fused operations that are composed here it is the part for their operands; of attention in chunks of an order,
/// whose composition copies whole operands several times, all of it.
pub fn working_bytes(operation: &OpSpec) -> u64 {
    let Cost { bytes_read, bytes_written, .. } = operation.cost(Precision::F64);
    // The cost model counts eight bytes an element.
    let [read, written] = [bytes_read, bytes_written].map(|bytes| bytes / 8);
    let area = |rows: usize, columns: usize| (rows as u64).saturating_mul(columns as u64);
    let elements = match *operation {
        // Stored as they are made, one by one.
        OpSpec::Unary { .. } | OpSpec::Copy { .. } | OpSpec::Mask { .. } | OpSpec::Binary { .. } => read,
        OpSpec::Select { .. } => read.saturating_mul(2),
        OpSpec::GatherRows { rows, .. } => rows as u64,
        // The copy, and the same as a list of estimates.
        OpSpec::Reduce { .. } | OpSpec::TopK { .. } => read.saturating_mul(2),
        // Of several batches one at a time is copied once more. The right factor has two more figures an element.
        OpSpec::Matmul { batch, m, n, k } => {
            let again = if batch > 1 { area(m, k).saturating_add(area(k, n)) } else { 0 };
            let all = read.saturating_add(written).saturating_add(area(m, n));
            all.saturating_add(again).saturating_add(area(k, n))
        }
        // The weight itself is stored without variances, and gets four figures an element.
        OpSpec::Linear { rows, inputs, outputs, .. } => {
            let results = area(rows, outputs).saturating_mul(2);
            area(rows, inputs).saturating_add(results).saturating_add(area(inputs, outputs).saturating_mul(2))
        }
        // Queries, keys, values and outputs as they are sorted, keys and values beside those before, and what attention copies of these.
        // In the causal form a bias of two chunks a query, half as much while it is made, and its copy; where keys have the queries'
        // order a view of oneself may be lowered, and that bias is copied for every chunk. What is of the size of the tokens alone is not
        // counted.
        OpSpec::BucketAttention { batch_heads, n, width, chunk, causal, orders } => {
            let sorted = area(8 * n - 4 * chunk.min(n), width).saturating_add(area(6 * n, width));
            let of_chunks = match (causal, orders) {
                (true, _) => 5,
                (false, 1) => 2,
                (false, _) => 0,
            };
            let bias = area(of_chunks * n, chunk);
            (batch_heads as u64).saturating_mul(sorted.saturating_add(bias))
        }
        _ => read.saturating_add(written),
    };
    elements.saturating_mul(ELEMENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::UnaryOp;

    #[test]
    fn copies_are_counted_by_what_an_operation_keeps_at_once() {
        assert_eq!(working_bytes(&OpSpec::Unary { elements: 10, op: UnaryOp::Exp }), 160);
        assert_eq!(working_bytes(&OpSpec::GatherRows { rows: 3, width: 1000 }), 48, "rows of a table are read where they stand");
        // 3 x 5 and 5 x 7 read, 3 x 7 before and as stored, and the right factor's two figures more.
        assert_eq!(working_bytes(&OpSpec::Matmul { batch: 1, m: 3, n: 7, k: 5 }), 16 * (15 + 35 + 2 * 21 + 35));
        assert_eq!(working_bytes(&OpSpec::Matmul { batch: 2, m: 3, n: 7, k: 5 }), 16 * (2 * (15 + 35 + 21) + 21 + 15 + 35 + 35));
        let buckets =
            |causal, orders| working_bytes(&OpSpec::BucketAttention { batch_heads: 2, n: 12, width: 5, chunk: 4, causal, orders });
        assert_eq!(buckets(false, 2), 16 * 2 * (4 * 12 + 4 * 8 + 6 * 12) * 5);
        assert_eq!(buckets(false, 1) - buckets(false, 2), 16 * 2 * 2 * 12 * 4);
        assert_eq!(buckets(true, 1) - buckets(false, 2), 16 * 2 * 5 * 12 * 4);
        assert_eq!(working_bytes(&OpSpec::Matmul { batch: 1, m: usize::MAX, n: usize::MAX, k: 2 }), u64::MAX);
    }
}
