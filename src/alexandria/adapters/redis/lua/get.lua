return load() or view(call.id)
