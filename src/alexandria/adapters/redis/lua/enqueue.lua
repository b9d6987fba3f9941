local ended = redis.call('HGET', ENDED, call.id)
local foreign = load()
if foreign then
  return foreign
end
local known = jobs[call.id] or job_in(ended, call.id)
if known and (known.repo ~= call.repo or known.ref ~= call.ref) then
  return reply({error = 'other'})
end
skip_stale()
local job = jobs[call.id]
if not job and known then
  -- It has ended; skipping others may just have pushed it out of the history.
  job = job_in(redis.call('HGET', ENDED, call.id), call.id)
end
job = job or active(call.repo, call.ref)
if not job then
  local pending = #waiting()
  if pending >= rules.cap then
    return reply({error = 'full', pending = pending})
  end
  job = new_job(now)
  jobs[job.id], of_item[job.item] = job, job
  save(job)
  to_end(job)
end
return reply({job = job, position = position(job.id), pending = #waiting()})
