# frozen_string_literal: true

module PYAPNS
  # A notification: Notification.new(alert, badge, sound, extra), or Notification.new(alert: …, badge: …, sound: …).
  class Notification
    # What stands in +aps+.
    attr_accessor :alert, :badge, :sound

    # The Hash as it is sent: what is nil is left out, of +aps+ and beside it, and these names become strings.
    def self.encode(note)
      note.each_with_object({}) do |(name, value), encoded|
        value = value.compact.transform_keys(&:to_s) if name.to_s == "aps" && value.is_a?(Hash)
        encoded[name.to_s] = value unless value.nil?
      end
    end

    def initialize(*args)
      args = args.first.values_at(:alert, :badge, :sound) if args.size == 1 && args.first.is_a?(Hash)
      alert, badge, sound, extra = args
      @alert = alert&.to_s
      @badge = badge&.to_i
      @sound = sound&.to_s
      @extra = (extra || {}).dup
    end

    # What stands beside +aps+ under this name.
    def extra(key)
      @extra[key]
    end

    def set_extra(key, value)
      @extra[key] = value
    end

    # The Hash as it is sent.
    def encode
      Notification.encode({ aps: { alert:, badge:, sound: } }.merge(@extra))
    end
  end
end
