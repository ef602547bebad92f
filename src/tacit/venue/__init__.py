"""Where the sum is computed: threads or processes of one machine."""
