"""The way to Upstash's Redis over HTTPS."""
