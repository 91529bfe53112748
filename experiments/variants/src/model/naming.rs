//! Our names of a model's tensors in the words of Hugging Face's BERT, GPT-2 and Llama.
//!
//! A tensor that stands elsewhere in such files (transposed, one of three side by side) says so; one that they do not have at all, such as
//! the projections of a Linformer put into BERT, has no place.

/// What both decoders call a head of its own.
pub(super) const HEAD: &str = "lm_head.weight";

/// Whose names a file uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// `encoder.layer.0.attention.self.query.weight`.
    Bert,
    /// `h.0.attn.c_attn.weight`, matrices transposed, q, k and v in one.
    Gpt2,
    /// `model.layers.0.self_attn.q_proj.weight`.
    Llama,
}

/// Where a tensor of ours stands in a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    pub(super) name: String,
    /// Stored as [inputs, outputs].
    pub(super) transposed: bool,
    /// This part of three along the outputs.
    pub(super) third: Option<usize>,
    /// More rows than wanted may be there.
    pub(super) cut: bool,
    /// Several of it may be wanted, one beside the other: a layer of which a mixture has several.
    pub(super) repeated: bool,
    /// A tensor whose first row is added to every row.
    pub(super) plus_row_of: Option<&'static str>,
    /// The architecture has no such tensor: ours is zero.
    pub(super) zero: bool,
}

impl Naming {
    /// `None` for a tensor that such files do not have.
    pub(super) fn place(self, ours: &str) -> Option<Place> {
        let plain =
            |name: String| Place { name, transposed: false, third: None, cut: false, repeated: false, plus_row_of: None, zero: false };
        if let Some(rest) = ours.strip_prefix("layers.") {
            let (layer, part) = rest.split_once('.')?;
            return self.in_layer(layer, part);
        }
        let theirs = match (self, ours) {
            (Self::Bert, "embedding.tokens") => "embeddings.word_embeddings.weight",
            (Self::Bert, "embedding.positions") => {
                let name = "embeddings.position_embeddings.weight".to_owned();
                return Some(Place { cut: true, plus_row_of: Some("embeddings.token_type_embeddings.weight"), ..plain(name) });
            }
            (Self::Bert, "embedding.norm.gamma") => "embeddings.LayerNorm.weight",
            (Self::Bert, "embedding.norm.beta") => "embeddings.LayerNorm.bias",
            (Self::Gpt2 | Self::Llama, "head") => HEAD,
            (Self::Gpt2, "embedding.tokens") => "wte.weight",
            (Self::Gpt2, "embedding.positions") => return Some(Place { cut: true, ..plain("wpe.weight".to_owned()) }),
            (Self::Gpt2, "final_norm.gamma") => "ln_f.weight",
            (Self::Gpt2, "final_norm.beta") => "ln_f.bias",
            (Self::Llama, "embedding.tokens") => "model.embed_tokens.weight",
            (Self::Llama, "final_norm.gamma") => "model.norm.weight",
            // Llama's norm shifts nothing; one that is put in its place may.
            (Self::Llama, "final_norm.beta") => return Some(Place { zero: true, ..plain(String::new()) }),
            _ => return None,
        };
        Some(plain(theirs.to_owned()))
    }

    pub(super) fn in_layer(self, layer: &str, part: &str) -> Option<Place> {
        let (module, parameter) = match part {
            "ffn.b1" => ("ffn.w1", "bias"),
            "ffn.b2" => ("ffn.w2", "bias"),
            "ffn.w1" | "ffn.w2" | "ffn.w3" => (part, "weight"),
            _ => match part.rsplit_once('.')? {
                (module, "weight" | "gamma") => (module, "weight"),
                (module, "bias" | "beta") => (module, "bias"),
                _ => return None,
            },
        };
        let third = ["q", "k", "v"].iter().position(|which| *which == module);
        let theirs = match (self, module) {
            (Self::Bert, "q") => "attention.self.query",
            (Self::Bert, "k") => "attention.self.key",
            (Self::Bert, "v") => "attention.self.value",
            (Self::Bert, "o") => "attention.output.dense",
            (Self::Bert, "attention_norm") => "attention.output.LayerNorm",
            (Self::Bert, "ffn.w1") => "intermediate.dense",
            (Self::Bert, "ffn.w2") => "output.dense",
            (Self::Bert, "ffn_norm") => "output.LayerNorm",
            (Self::Gpt2, "q" | "k" | "v") => "attn.c_attn",
            (Self::Gpt2, "o") => "attn.c_proj",
            (Self::Gpt2, "attention_norm") => "ln_1",
            (Self::Gpt2, "ffn.w1") => "mlp.c_fc",
            (Self::Gpt2, "ffn.w2") => "mlp.c_proj",
            (Self::Gpt2, "ffn_norm") => "ln_2",
            (Self::Llama, "q") => "self_attn.q_proj",
            (Self::Llama, "k") => "self_attn.k_proj",
            (Self::Llama, "v") => "self_attn.v_proj",
            (Self::Llama, "o") => "self_attn.o_proj",
            (Self::Llama, "attention_norm") => "input_layernorm",
            (Self::Llama, "ffn.w1") => "mlp.gate_proj",
            (Self::Llama, "ffn.w3") => "mlp.up_proj",
            (Self::Llama, "ffn.w2") => "mlp.down_proj",
            (Self::Llama, "ffn_norm") => "post_attention_layernorm",
            _ => return None,
        };
        let stem = match self {
            Self::Bert => "encoder.layer",
            Self::Gpt2 => "h",
            Self::Llama => "model.layers",
        };
        let gpt2 = self == Self::Gpt2;
        Some(Place {
            name: format!("{stem}.{layer}.{theirs}.{parameter}"),
            transposed: gpt2 && parameter == "weight" && !module.ends_with("norm"),
            third: third.filter(|_| gpt2),
            cut: false,
            repeated: module.starts_with("ffn."),
            plus_row_of: None,
            // Llama has biases at most in its projections.
            zero: self == Self::Llama && parameter == "bias" && !["q", "k", "v", "o"].contains(&module),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(naming: Naming, ours: &str) -> Option<String> {
        naming.place(ours).map(|place| place.name)
    }

    #[test]
    fn our_names_stand_for_theirs() {
        for (naming, ours, theirs) in [
            (Naming::Bert, "layers.3.q.bias", "encoder.layer.3.attention.self.query.bias"),
            (Naming::Bert, "layers.0.ffn.w2", "encoder.layer.0.output.dense.weight"),
            (Naming::Bert, "layers.0.ffn_norm.beta", "encoder.layer.0.output.LayerNorm.bias"),
            (Naming::Gpt2, "layers.11.ffn.b1", "h.11.mlp.c_fc.bias"),
            (Naming::Gpt2, "layers.1.attention_norm.gamma", "h.1.ln_1.weight"),
            (Naming::Llama, "layers.2.ffn.w3", "model.layers.2.mlp.up_proj.weight"),
        ] {
            assert_eq!(name_of(naming, ours).as_deref(), Some(theirs));
        }
        // A component's own projections are in no such file.
        assert_eq!(name_of(Naming::Bert, "layers.0.attention.e"), None);
        let fused = Naming::Gpt2.place("layers.0.k.weight").unwrap();
        assert_eq!((fused.name.as_str(), fused.transposed, fused.third), ("h.0.attn.c_attn.weight", true, Some(1)));
    }
}
