"""The monitoring API: what Fluent Bit's serves on port 2020, with our own numbers and a health that means progress.

`server` speaks HTTP and knows no page. `pages` makes the answers from a `view`, which is what the engine lets be seen.
`names` brings the counters of the registry under the names that dashboards know, `exposition` writes them as text, and
`health` watches once a second whether the outputs get on, `rates` how much the inputs bring. `monitor` holds these
together for the engine. `health_command` stands on the other side and asks.

A process without HTTP_Server imports none of this.
"""
