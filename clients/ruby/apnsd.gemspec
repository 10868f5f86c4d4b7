# frozen_string_literal: true

require_relative "lib/apnsd/version"

Gem::Specification.new do |gem|
  gem.name = "apnsd"
  gem.version = Apnsd::VERSION
  gem.summary = "The client of apnsd, a self-hosted push-notification daemon"
  gem.description = "Sends push notifications through apnsd. Provisions apps by itself, never sends twice, and takes " \
                    "the place of pyapns' Ruby client."
  gem.authors = ["The apnsd authors"]
  gem.licenses = ["MIT", "Apache-2.0"]
  gem.metadata = { "rubygems_mfa_required" => "true" }

  gem.required_ruby_version = ">= 3.1"
  gem.add_dependency "xmlrpc", "~> 0.3"

  gem.files = Dir.glob(["lib/**/*.rb", "names/*.rb", "*.md", "LICENSE-*"], base: __dir__)
  gem.require_paths = %w[lib names]
end
