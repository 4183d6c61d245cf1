"""The HTTP server: uvicorn, what it lacks, and the fast path of callbacks. Only this package touches uvicorn."""
