# frozen_string_literal: true

require "support"
require "fileutils"
require "rbconfig"

# The gem as it is installed, and what its README shows.
class PackageTest < Minitest::Test
  include WithWorld

  HERE = File.expand_path("..", __dir__)
  README = File.read(File.join(HERE, "README.md"))
  EXAMPLES = README.scan(/^```ruby\n(.+?)^```/m).flatten.freeze

  def test_the_installed_gem_runs_the_example_of_the_readme
    Dir.mktmpdir do |directory|
      home = installed(directory)
      FileUtils.cp(world[:certificate], File.join(directory, "myapp.pem"))
      run_in(directory, home, "ruby", "-e", EXAMPLES.first)
      assert_arrived(token("aa").gsub("0", "a"))
      run_in(directory, home, "ruby", "-e", "%w[apnsd/pyapns pyapns PYAPNS].each { |name| require name }")
    end
  end

  def test_every_example_is_ruby
    assert_operator EXAMPLES.size, :>, 3
    EXAMPLES.each { |example| RubyVM::InstructionSequence.compile(example) }
  end

  def test_the_version_is_that_of_the_daemon
    daemon = File.read(File.join(HERE, "../../Cargo.toml"))[/^version = "(.+)"/, 1]
    assert_equal daemon, Gem::Specification.load(File.join(HERE, "apnsd.gemspec")).version.to_s
  end

  private

  # Builds the gem, installs it where nothing else is, and returns the place.
  def installed(directory)
    home = File.join(directory, "home")
    file = File.join(directory, "apnsd.gem")
    run_in(HERE, home, "gem", "build", "--output", file, "apnsd.gemspec")
    run_in(directory, home, "gem", "install", "--local", "--no-document", file)
    home
  end

  # Runs a command with the gems of this home and those of the system.
  def run_in(directory, home, *command)
    path = [home, *Gem.default_path].join(File::PATH_SEPARATOR)
    variables = { "GEM_HOME" => home, "GEM_PATH" => path, "RUBYLIB" => nil, "APNSD_URL" => world[:url] }
    output, status = Open3.capture2e(variables, *command, chdir: directory)
    assert_predicate status, :success?, output
    output
  end
end
