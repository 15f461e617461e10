"""Data: sources of samples, Caffe's transform, and the prefetch that keeps a net fed.

A source (`ImageList`, `LmdbSource`) gives samples by index; `Order` says which index comes when;
`Transformer` crops, mirrors and subtracts the mean; `BatchLoader` joins them into batches, and
`Prefetcher` makes batches ahead in background threads. Every batch is a pure function of the seed,
the layer's name and the batch's number.
"""
