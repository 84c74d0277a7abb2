"""Feeds: where a source's files come from, and how they reach the feed folder, whole or not at all.

`config` says what a feed is, `inbox` puts files into the feed folder atomically, `folder`, `http` and `store` fetch,
`runner` polls each feed in a thread of its own and tells the cycle when something has arrived. Ready-made feeds are
in `known/`.
"""
