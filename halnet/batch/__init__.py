"""Batch: folders and buckets of millions of photos, by workers on one machine or on a cluster."""
