//! Everything adversarial about mpt.
