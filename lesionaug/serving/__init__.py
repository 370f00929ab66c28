"""One process that holds the models, and renderers anywhere that ask it: `RenderServer` and `ServedRenderer`.

loader worker ─┐  socket   ┌ one thread per connection ─┐          ┌ the one thread that renders
loader worker ─┼──────────►│                            ├► Batcher ►  lesions of one patch shape, of all requests
trainer        ─┘           └ replies, signs of life  ◄──┘          └ Renderer
"""
