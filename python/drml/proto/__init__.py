"""Caffe's messages with our own fields beside them; see caffe.proto."""
