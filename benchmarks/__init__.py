"""Speed of tacit beside a naive loop, a bare loop, centralised training and other frameworks, interleaved."""
