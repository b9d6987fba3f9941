-- A worker ends its job for good: `call.event` by `call.state`, or fails it and asks for another attempt.
local before = call.retry and ended_by('REQUEUE', 'FAIL') or ended_by(call.event)
if before then
  return reply({state = before.ended_by == 'REQUEUE' and 'queued' or before.state})
end
local job = held()
if not job then
  return reply({error = 'lost'})
end
if call.retry and not job.cancel and job.attempt < rules.max_attempts then
  job.state, job.ended_by = 'queued', 'REQUEUE'
  job.due_us = whole(now + rules.retry_delay_us * 2 ^ (job.attempt - 1))
  save(job)
  return reply({state = 'queued'})
end
job.ended_by = call.event
finish(job, call.state, record)
return reply({state = call.state})
