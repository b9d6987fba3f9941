<#
.SYNOPSIS
Set up a worker on Windows, inside WSL 2. Run it again at any time: what is done stays.

.DESCRIPTION
The worker reads code with parsers that it limits by means that only POSIX systems have, so on Windows it runs in Linux
under WSL 2, where PyTorch reaches an NVIDIA GPU through the Windows driver. This script looks whether WSL and a
distribution are there and hands over to setup_edge.sh inside it, which installs, fills in .env.edge, verifies CUDA,
migrates and tests.

Never run by us: there was no Windows where this was written. It was parsed, no more. Guide: docs/guides/edge-setup.md

.PARAMETER Distribution
The WSL distribution; default: the default one.

.PARAMETER TorchIndexUrl
Where PyTorch comes from: the --index-url that the selector at https://pytorch.org/get-started/locally/ shows for Linux.
Empty: where pip looks anyway, a build with CUDA.

.PARAMETER CheckOnly
Only look whether the machine has what is needed.

.EXAMPLE
.\setup_edge.ps1

.EXAMPLE
.\setup_edge.ps1 -Distribution Debian -CheckOnly
#>
[CmdletBinding()]
param(
    [string]$Distribution = '',
    [string]$TorchIndexUrl = '',
    [switch]$CheckOnly
)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# As setup_edge.sh: what .env.edge.template leaves empty. A test holds the two together.
$Asked = @(
    'UPSTASH_REDIS_REST_URL',
    'UPSTASH_REDIS_REST_TOKEN',
    'QDRANT_URL',
    'QDRANT_API_KEY',
    'DATABASE_URL'
)

function Stop-WithReason([string]$Reason) {
    Write-Error "setup_edge.ps1: $Reason" -ErrorAction Continue
    exit 1
}

if (-not (Get-Command wsl.exe -ErrorAction SilentlyContinue)) {
    Stop-WithReason 'WSL is not there. In a terminal of an administrator: wsl --install; then start Windows again.'
}

$Wsl = @()
if ($Distribution) {
    $Wsl += @('--distribution', $Distribution)
}

& wsl.exe @Wsl --exec true
if ($LASTEXITCODE -ne 0) {
    Stop-WithReason 'no distribution starts. wsl --list --online names some; wsl --install -d Debian installs one.'
}

$Kernel = (& wsl.exe @Wsl --exec uname -r) -join ''
if ($Kernel -notmatch 'WSL2|microsoft-standard') {
    Stop-WithReason "the distribution runs under WSL 1 ($Kernel), which sees no GPU: wsl --set-version NAME 2"
}

if (Get-Command nvidia-smi.exe -ErrorAction SilentlyContinue) {
    & wsl.exe @Wsl --exec nvidia-smi --list-gpus
    if ($LASTEXITCODE -ne 0) {
        Stop-WithReason 'Windows has an NVIDIA GPU and WSL does not see it: update the Windows driver, then wsl --update'
    }
} else {
    Write-Output 'no NVIDIA GPU in Windows: training will run on the CPU'
}

# Variables that are set here go into WSL by name (WSLENV), so no secret stands on a command line.
$Shared = @($Asked | Where-Object { [Environment]::GetEnvironmentVariable($_) })
if ($TorchIndexUrl) {
    $env:TORCH_INDEX_URL = $TorchIndexUrl
    $Shared += 'TORCH_INDEX_URL'
}
$Before = $env:WSLENV
if ($Shared.Count -gt 0) {
    $env:WSLENV = (@($Before) + $Shared | Where-Object { $_ }) -join ':'
}

try {
    $Options = @()
    if ($CheckOnly) {
        $Options += '--check'
    }
    & wsl.exe @Wsl --cd $PSScriptRoot --exec bash ./setup_edge.sh @Options
    $Result = $LASTEXITCODE
} finally {
    $env:WSLENV = $Before
}
exit $Result
