"""The monitoring API: what Fluent Bit's serves on port 2020, with our own numbers and a health that means progress.

`server` speaks HTTP and knows no page. `pages` makes the answers from a `view`, which is what the engine lets be seen.
`names` brings the counters of the registry under the names that dashboards know, `exposition` writes them as text, and
`health` watches once a second whether the outputs get on. `monitor` holds these together for the engine.

A process without HTTP_Server imports none of this.
"""
