local foreign = load()
if foreign then
  return foreign
end

local lapsed = {}
for _, job in pairs(jobs) do
  if job.state == 'running' and tonumber(job.lease_us) <= now then
    lapsed[#lapsed + 1] = job
  end
end
table.sort(lapsed, by('lease_us'))
local back = {}
for _, job in ipairs(lapsed) do
  if job.cancel or job.attempt >= rules.max_attempts then
    local state = job.cancel and 'cancelled' or 'failed'
    finish(job, state, cjson.encode({
      job_id = job.id, repo_url = 'https://' .. job.repo, status = state, timestamp = iso(now),
      started_at = iso(tonumber(job.started_us)), attempt = job.attempt, worker_id = job.worker_id,
      duration_seconds = math.max(tonumber(job.lease_us) - tonumber(job.started_us), 0) / 1000000,
      reason = (job.cancel and 'cancelled; ' or '')
        .. 'its worker was not heard of any more in attempt ' .. job.attempt,
    }))
  else
    job.state = 'queued'
    table.insert(back, 1, job)
  end
end
for _, job in ipairs(back) do
  save(job)
  to_front(job)
end

for _, job in ipairs(delayed()) do
  if tonumber(job.due_us) <= now then
    job.due_us = nil
    save(job)
    to_end(job)
  end
end

skip_stale()

local job = of_item[line[1]]
if not job then
  return reply({})
end
redis.call('LPOP', QUEUE)
job.token = redis.call('INCR', TOKEN)
job.state, job.attempt, job.worker_id = 'running', job.attempt + 1, call.worker_id
job.started_us, job.lease_us = whole(now), whole(now + rules.lease_us)
job.ended_by, job.cancel, job.phase, job.fraction = nil, nil, nil, nil
save(job)
return reply({job = job})
