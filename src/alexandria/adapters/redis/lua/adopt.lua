-- Make a job of an element that another program pushed, or record why it cannot be one.
for _, item in ipairs(redis.call('LRANGE', QUEUE, 0, -1)) do
  if redis.sha1hex(item) == call.sha1 then
    if call.reason then
      add_to_history(cjson.encode({
        job_id = call.id, repo_url = '', status = 'failed', timestamp = iso(now), reason = call.reason,
      }))
    else
      load()
      if not active(call.repo, call.ref) then
        local job = new_job(now)
        save(job)
        redis.call('LINSERT', QUEUE, 'BEFORE', item, job.item)
      end
    end
    redis.call('LREM', QUEUE, 1, item)
    break
  end
end
return reply({})
