# frozen_string_literal: true

require "singleton"
require "xmlrpc/datetime"

module PYAPNS
  # pyapns' client: one for the process. Arguments are given one by one or as a Hash. With a block a call is made in a
  # thread of its own, whose result the block gets, and nil is returned at once.
  class Client
    include Singleton

    # The Apnsd::Client that makes the calls, for what pyapns did not have. Raises NotConfigured.
    def apnsd
      @apnsd || raise(NotConfigured, "call PYAPNS::Client.configure first")
    end

    def self.configure(hash = {})
      instance.configure(hash)
    end

    def initialize
      @configuring = Mutex.new
      @apnsd = nil
    end

    # Names are symbols or strings in any case: host (a URL will do too), port, path, timeout (seconds), initial (an
    # Array of Hashes with app_id, cert, env and timeout), logger (told of failures that reach no caller). What is not
    # given is as Apnsd::Client has it. Once configured, the client stays as it is. Returns the client.
    #
    # Each app in +initial+ is provisioned. Where that fails the log says so, and its first call tries again.
    def configure(hash = {})
      raise InvalidArguments, "configure: a Hash of settings is needed, not #{hash.class}" unless hash.is_a?(Hash)

      @configuring.synchronize { configure_once(hash.transform_keys { |name| name.to_s.downcase }) unless configured? }
      self
    end

    def configured?
      !@apnsd.nil?
    end

    # app_id, cert (a path on the daemon's machine, or text), env, timeout (seconds): all are needed.
    def provision(*args, &block)
      app_id, cert, env, timeout = arguments(args, %i[app_id cert env timeout])
      perform("provision", app_id, block) { |apnsd| apnsd.provision(app_id, **settings(cert, env, timeout)) }
    end

    # app_id, tokens (one or many), notifications (one for all, or one for each: Hashes, Notification objects).
    def notify(*args, &block)
      app_id, tokens, notes = arguments(args, %i[app_id tokens notifications])
      notes = notes.is_a?(Array) ? notes.map { |note| encoded(note) } : encoded(notes)
      perform("notify", app_id, block) { |apnsd| apnsd.notify(app_id, tokens, notes) }
    end

    # app_id. Dead tokens as [XMLRPC::DateTime (UTC), token].
    def feedback(*args, &block)
      app_id, = arguments(args, %i[app_id])
      perform("feedback", app_id, block) do |apnsd|
        apnsd.feedback(app_id).map { |time, token| [XMLRPC::DateTime.new(*time.to_a[0, 6].reverse), token] }
      end
    end

    private

    def configure_once(settings)
      entries = settings["initial"] || []
      unless entries.is_a?(Array) && entries.all?(Hash)
        raise InvalidArguments, "initial: an Array with a Hash for each app is needed: [{ app_id:, cert:, env: }, …]"
      end

      apps = entries.to_h { |entry| initial(entry) }
      @logger = settings["logger"] || Apnsd::Log
      @apnsd = Apnsd::Client.new(url: url(settings), timeout: settings["timeout"] || 15, apps:, logger: @logger)
      apps.each_key { |app_id| provision_initial(app_id) }
    end

    def initial(entry)
      entry = { timeout: 15 }.merge(entry.transform_keys { |name| name.to_s.to_sym }.compact)
      app_id, *rest = arguments([entry], %i[app_id cert env timeout])
      [app_id, settings(*rest)]
    end

    def provision_initial(app_id)
      apnsd.provision(app_id)
    rescue Apnsd::Error => e
      @logger.warn("provision of #{app_id} failed: #{e.message} (#{e.class})")
    end

    def settings(cert, env, timeout)
      { certificate: cert, environment: env, timeout: }
    end

    # Where the daemon is; nil where nothing is said about it. Text that is empty says nothing.
    def url(settings)
      given = settings.slice("host", "port", "path").transform_values(&:to_s).reject { |_, value| value.empty? }
      host = given.fetch("host", "localhost")
      return if given.empty?
      return host if host.start_with?("unix:")

      host = "[#{host}]" if host.match?(Resolv::IPv6::Regex)
      scheme, authority, path = %r{\A(?:(\w+)://)?([^/]*)(.*)}.match(host).captures
      authority += ":#{given.fetch("port", 7077)}" unless authority.match?(/:\d+\z/)
      "#{scheme || "http"}://#{authority}/#{given.fetch("path", path).delete_prefix("/")}"
    end

    def arguments(args, names)
      args = names.map { |name| args.first[name] } if args.size == 1 && args.first.is_a?(Hash)
      return args if args.size == names.size && args.none?(&:nil?)

      raise InvalidArguments, "Invalid args supplied #{names}: all of them are needed, and none may be nil"
    end

    def encoded(note)
      case note
      when Notification then note.encode
      when Hash then Notification.encode(note)
      else note
      end
    end

    def perform(verb, app_id, block, &call)
      client = apnsd
      return raising_as_pyapns(client, &call) unless block

      Thread.new do
        Thread.current.report_on_exception = false # The log has it.
        block.call(raising_as_pyapns(client, &call))
      rescue StandardError => e
        @logger.error("#{verb} for #{app_id} with a block: #{e.full_message(highlight: false)}")
        raise
      end
      nil
    end

    # pyapns' client had errors of its own for three faults; others were XMLRPC::FaultException, and those of sockets
    # came as they were.
    def raising_as_pyapns(client)
      yield client
    rescue UnknownAppID, InvalidEnvironment, ServerTimeout, NotConfigured
      raise
    rescue Apnsd::ConnectionFailed => e
      raise e.cause.is_a?(Apnsd::Connection::Malformed) ? e : e.cause || e
    rescue Apnsd::Error => e
      raise e.code ? XMLRPC::FaultException.new(e.code, e.text) : e
    end
  end
end
