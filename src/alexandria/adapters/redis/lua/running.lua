-- The jobs that run. They are not in the list, so it is not read, and what others pushed there waits.
read_jobs()
local running = {}
for _, job in pairs(jobs) do
  if job.state == 'running' then
    job.lapsed = tonumber(job.lease_us) <= now
    running[#running + 1] = job
  end
end
table.sort(running, by('started_us'))
return reply({jobs = running})
