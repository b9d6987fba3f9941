-- The jobs that run. They are not in the list, so it is not read, and what others pushed there waits.
local running = {}
for _, text in ipairs(redis.call('HVALS', JOBS)) do
  local job = cjson.decode(text)
  if job.state == 'running' then
    job.lapsed = tonumber(job.lease_us) <= now
    running[#running + 1] = job
  end
end
table.sort(running, by('started_us'))
return reply({jobs = running})
